ranges ../ir/chain.yaml
