build ../ir/conv.yaml -o ../cli
