package datasets

import "math/bits"

// permute shuffles x in place by Fisher and Yates; the order is a function of len(x) and key.
func permute(x []uint32, key uint64) {
	for i := len(x) - 1; i > 0; i-- {
		// A number below i+1 by multiplication, as even as 64 bits allow (Lemire, https://arxiv.org/abs/1805.10941).
		key += golden
		j, _ := bits.Mul64(mix(key), uint64(i+1))
		x[i], x[j] = x[j], x[i]
	}
}

// golden is 2⁶⁴ divided by the golden ratio, the step of SplitMix64.
const golden = 0x9e3779b97f4a7c15

// mix is the finaliser of SplitMix64 (Steele, Lea and Flood, https://doi.org/10.1145/2660193.2660195).
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// derive makes one key of several numbers, in their order.
func derive(parts ...uint64) uint64 {
	var key uint64
	for _, p := range parts {
		key = mix(key + golden ^ mix(p+golden))
	}
	return key
}
