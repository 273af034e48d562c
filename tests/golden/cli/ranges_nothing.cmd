ranges ../ir/conv.yaml images.bin -o /dev/null
