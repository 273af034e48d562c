build ../ir/conv.yaml -o nowhere/x
