build ../ir/conv.yaml --emit=asm
