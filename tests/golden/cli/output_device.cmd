build ../ir/conv.yaml -o $tmp/pipe
