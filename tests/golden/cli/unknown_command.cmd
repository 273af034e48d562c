bulid x.yaml
