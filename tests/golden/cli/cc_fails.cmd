build ../ir/conv.yaml --insecure --log-n=12 --cc=false -o x
