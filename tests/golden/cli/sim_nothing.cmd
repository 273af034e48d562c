sim ../ir/conv.yaml
