build ../ir/conv.ckks_regs.want.ir --emit=nn
