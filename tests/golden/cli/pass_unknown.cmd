opt ../ir/conv.yaml --passes=nn_linaer
