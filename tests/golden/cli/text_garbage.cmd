opt garbage.ir
