sim ../ir/conv.yaml images.bin --insecure --log-n=12 --limit=2
