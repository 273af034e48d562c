check garbage.ir
