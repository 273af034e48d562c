opt ../ir/conv.yaml --cost=nowhere.def
