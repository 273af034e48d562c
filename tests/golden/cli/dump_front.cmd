opt ../ir/conv.yaml --passes=none --dump-after=front -o $tmp/x.ir
