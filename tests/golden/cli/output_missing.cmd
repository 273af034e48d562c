build ../ir/conv.yaml
