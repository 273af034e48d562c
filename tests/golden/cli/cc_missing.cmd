build ../ir/conv.yaml --insecure --log-n=12 --cc=no-such-compiler -o $tmp/x
