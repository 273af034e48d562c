check nowhere.yaml
