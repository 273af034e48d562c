build ../ir/conv.yaml --estimate -o x
