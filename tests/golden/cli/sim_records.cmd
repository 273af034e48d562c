sim ../ir/conv.yaml garbage.ir
