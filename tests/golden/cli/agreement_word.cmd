build ../ir/conv.yaml -o x --agreement=abc
