opt ../ir/conv.yaml --dump-after=everything
