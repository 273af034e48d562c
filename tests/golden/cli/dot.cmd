build ../ir/conv.yaml --emit=dot
