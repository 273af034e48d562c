build ../ir/conv.yaml -o x --agreement=0
