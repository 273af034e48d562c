opt ../ir/conv.yaml --passes=slot_bsgs
