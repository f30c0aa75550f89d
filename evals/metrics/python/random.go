package python

import (
	"math/big"
	"math/bits"
)

const (
	stateWords = 624
	middle     = 397
)

// Random is random.Random: the Mersenne Twister MT19937 (https://doi.org/10.1145/272991.272995) with Python's way of
// seeding and of drawing. It is for one goroutine.
type Random struct {
	state [stateWords]uint32
	at    int
}

// NewRandom is random.Random(seed) for an integer, whose sign Python passes over.
func NewRandom(seed int64) *Random {
	magnitude := new(big.Int).Abs(big.NewInt(seed)).Uint64()
	key := []uint32{uint32(magnitude)}
	if high := uint32(magnitude >> 32); high != 0 {
		key = append(key, high)
	}
	r := &Random{at: stateWords}
	r.seed(key)
	return r
}

// fill is the generator's own initialisation by one word.
func (r *Random) fill(word uint32) {
	r.state[0] = word
	for i := 1; i < stateWords; i++ {
		r.state[i] = 1812433253*(r.state[i-1]^r.state[i-1]>>30) + uint32(i)
	}
}

// seed is initialisation by an array of words.
func (r *Random) seed(key []uint32) {
	r.fill(19650218)
	i, j := 1, 0
	step := func() {
		if i++; i == stateWords {
			r.state[0] = r.state[stateWords-1]
			i = 1
		}
	}
	for range max(stateWords, len(key)) {
		r.state[i] = (r.state[i] ^ (r.state[i-1]^r.state[i-1]>>30)*1664525) + key[j] + uint32(j)
		step()
		j = (j + 1) % len(key)
	}
	for range stateWords - 1 {
		r.state[i] = (r.state[i] ^ (r.state[i-1]^r.state[i-1]>>30)*1566083941) - uint32(i)
		step()
	}
	r.state[0] = 1 << 31
}

// refresh makes the next words of the state.
func (r *Random) refresh() {
	for i := range stateWords {
		y := r.state[i]&(1<<31) | r.state[(i+1)%stateWords]&(1<<31-1)
		x := r.state[(i+middle)%stateWords] ^ y>>1
		if y&1 == 1 {
			x ^= 0x9908b0df
		}
		r.state[i] = x
	}
	r.at = 0
}

// Uint32 draws 32 bits.
func (r *Random) Uint32() uint32 {
	if r.at == stateWords {
		r.refresh()
	}
	y := r.state[r.at]
	r.at++
	y ^= y >> 11
	y ^= y << 7 & 0x9d2c5680
	y ^= y << 15 & 0xefc60000
	return y ^ y>>18
}

// Float64 is random.random(): 53 bits in [0, 1).
func (r *Random) Float64() float64 {
	high, low := r.Uint32()>>5, r.Uint32()>>6
	return (float64(high)*(1<<26) + float64(low)) / (1 << 53)
}

// IntN draws evenly from 0 to n-1, as randrange(n), choice and shuffle do. It panics unless n ≥ 1.
func (r *Random) IntN(n int) int {
	if n < 1 {
		panic("python: IntN of no values")
	}
	for k := bits.Len(uint(n)); ; {
		if x := r.word(k); x < uint64(n) {
			return int(x)
		}
	}
}

// word is getrandbits(k) for k to 64.
func (r *Random) word(k int) uint64 {
	if k <= 32 {
		return uint64(r.Uint32() >> (32 - k))
	}
	low := uint64(r.Uint32())
	return uint64(r.Uint32()>>(64-k))<<32 | low
}

// Choices draws k indices below n with replacement, as random.choices without weights does.
func (r *Random) Choices(n, k int) []int {
	drawn := make([]int, k)
	for i := range drawn {
		drawn[i] = int(r.Float64() * float64(n))
	}
	return drawn
}

// Shuffle is random.shuffle.
func (r *Random) Shuffle(n int, swap func(i, j int)) {
	for i := n - 1; i > 0; i-- {
		swap(i, r.IntN(i+1))
	}
}

// Sample draws k different indices below n, as random.sample(range(n), k) does. It panics unless 0 ≤ k ≤ n.
func (r *Random) Sample(n, k int) []int {
	if k < 0 || k > n {
		panic("python: Sample of more than there are")
	}
	drawn := make([]int, k)
	if n <= poolLimit(k) {
		pool := make([]int, n)
		for i := range pool {
			pool[i] = i
		}
		for i := range drawn {
			j := r.IntN(n - i)
			drawn[i] = pool[j]
			pool[j] = pool[n-i-1]
		}
		return drawn
	}
	taken := make(map[int]bool, k)
	for i := range drawn {
		j := r.IntN(n)
		for taken[j] {
			j = r.IntN(n)
		}
		taken[j] = true
		drawn[i] = j
	}
	return drawn
}

// poolLimit is the population up to which sample keeps a list of what is left: 21, or with more than five to draw
// that and the least power of four that is not below three times their number.
func poolLimit(k int) int {
	limit := 21
	if k > 5 {
		size := 1
		for size < 3*k {
			size *= 4
		}
		limit += size
	}
	return limit
}
