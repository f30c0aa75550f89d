package vec

import "golang.org/x/sys/cpu"

// implementations returns those that this processor and its operating system run, the best first.
func implementations() []*loops {
	var all []*loops
	x := cpu.X86
	if x.HasAVX512F && x.HasAVX512DQ && x.HasAVX512BW && x.HasAVX512VL && x.HasBMI2 {
		all = append(all, inAVX512())
	}
	if x.HasAVX2 && x.HasFMA {
		all = append(all, inAVX2())
	}
	return append(all, inGo())
}

func inAVX512() *loops {
	return &loops{
		name: "avx512",
		dot:  dotAVX512, sum: sumAVX512, max: maxAVX512,
		scale: scaleAVX512, axpy: axpyAVX512, combine: combineAVX512, add: addAVX512,
		mul: mulAVX512, scaleMul: scaleMulAVX512, axpyMul: axpyMulAVX512, rotate: rotateAVX512,
		exp: expAVX512, expSum: expSumAVX512,
		sigmoid: sigmoidAVX512, sigmoidGrad: sigmoidGradAVX512, softplus: softplusAVX512,
		silu: siluAVX512, siluGrad: siluGradAVX512, siluMul: siluMulAVX512, siluMulGrad: siluMulGradAVX512,
		toBF16: toBF16AVX512, fromBF16: fromBF16AVX512,
	}
}

func inAVX2() *loops {
	return &loops{
		name: "avx2",
		dot:  dotAVX2, sum: sumAVX2, max: maxAVX2,
		scale: scaleAVX2, axpy: axpyAVX2, combine: combineAVX2, add: addAVX2,
		mul: mulAVX2, scaleMul: scaleMulAVX2, axpyMul: axpyMulAVX2, rotate: rotateAVX2,
		exp: expAVX2, expSum: expSumAVX2,
		sigmoid: sigmoidAVX2, sigmoidGrad: sigmoidGradAVX2, softplus: softplusAVX2,
		silu: siluAVX2, siluGrad: siluGradAVX2, siluMul: siluMulAVX2, siluMulGrad: siluMulGradAVX2,
		toBF16: toBF16AVX2, fromBF16: fromBF16AVX2,
	}
}
