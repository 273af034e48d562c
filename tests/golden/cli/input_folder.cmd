check ../cli
