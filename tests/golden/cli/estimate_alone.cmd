build ../ir/conv.yaml -o x --compare
