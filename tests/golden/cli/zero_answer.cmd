build zero_answer.yaml --insecure --log-n=10 --emit=c -o $tmp/zero
