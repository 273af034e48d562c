build ../ir/conv.yaml --emit=ckks --log-n=10
