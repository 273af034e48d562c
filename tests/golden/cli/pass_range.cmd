opt ../ir/conv.yaml --passes=ckks_level..nn_fold
