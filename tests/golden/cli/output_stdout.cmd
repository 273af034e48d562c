build ../ir/conv.yaml -o -
