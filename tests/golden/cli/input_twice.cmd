check a.yaml b.yaml
