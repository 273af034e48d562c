estimate ../ir/chain.yaml --compare
