build ../ir/conv.yaml --emitt=nn
