estimate ../ir/conv.yaml --json
