build ../ir/conv.yaml --emit=nn --log-n=40
