build ../ir/conv.yaml --emit=nn --precision=high
