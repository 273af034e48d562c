estimate ../ir/conv.yaml --layout=gip
