package metrics

import (
	"math"
	"slices"
	"sync"

	"github.com/gojet/gojet/evals/metrics/python"
)

// Weighted is a value and what it is spread over: a log-likelihood and a number of words or bytes.
type Weighted struct{ Value, Weight float64 }

// Mean is NaN of nothing.
func Mean(xs []float64) float64 {
	sum := 0.0
	for _, x := range xs {
		sum += x
	}
	return sum / float64(len(xs))
}

// Median is the upper of the two in the middle where their number is even.
func Median(xs []float64) float64 {
	if len(xs) == 0 {
		return math.NaN()
	}
	return slices.Sorted(slices.Values(xs))[len(xs)/2]
}

// Perplexity is e to minus the mean of log-likelihoods.
func Perplexity(logs []float64) float64 { return math.Exp(-Mean(logs)) }

// WeightedMean is Σ values / Σ weights.
func WeightedMean(xs []Weighted) float64 {
	value, weight := 0.0, 0.0
	for _, x := range xs {
		value += x.Value
		weight += x.Weight
	}
	return value / weight
}

// WeightedPerplexity of log-likelihoods by words or bytes.
func WeightedPerplexity(xs []Weighted) float64 { return math.Exp(-WeightedMean(xs)) }

// BitsPerByte of log-likelihoods by bytes.
func BitsPerByte(xs []Weighted) float64 { return -WeightedMean(xs) / math.Ln2 }

// Labelled is a class and the one that was predicted.
type Labelled struct{ Gold, Predicted int }

// BinaryF1 is that of class 1. Without any 1 among gold and predicted it is 0.
func BinaryF1(xs []Labelled) float64 {
	right, gold, predicted := 0, 0, 0
	for _, x := range xs {
		if x.Gold == 1 {
			gold++
		}
		if x.Predicted == 1 {
			predicted++
			if x.Gold == 1 {
				right++
			}
		}
	}
	if gold+predicted == 0 {
		return 0
	}
	return 2 * float64(right) / float64(gold+predicted)
}

// Matthews is the correlation coefficient for any number of classes, and 0 where one side has one class only.
func Matthews(xs []Labelled) float64 {
	gold, predicted := map[int]float64{}, map[int]float64{}
	right, n := 0.0, float64(len(xs))
	for _, x := range xs {
		gold[x.Gold]++
		predicted[x.Predicted]++
		if x.Gold == x.Predicted {
			right++
		}
	}
	var both, g2, p2 float64
	for class, g := range gold {
		both += g * predicted[class]
		g2 += g * g
	}
	for _, p := range predicted {
		p2 += p * p
	}
	spread := (n*n - g2) * (n*n - p2)
	if spread == 0 {
		return 0
	}
	return (right*n - both) / math.Sqrt(spread)
}

// deviation is the sample standard deviation, with n-1 below.
func deviation(xs []float64) float64 {
	mean, sum := Mean(xs), 0.0
	for _, x := range xs {
		sum += (x - mean) * (x - mean)
	}
	return math.Sqrt(sum / float64(len(xs)-1))
}

// MeanError is the standard error of a mean: deviation/√n. It is NaN of fewer than two values.
func MeanError(xs []float64) float64 { return deviation(xs) / math.Sqrt(float64(len(xs))) }

// bootstrapChunk is how many draws share a random generator.
const bootstrapChunk = 1000

// Bootstrap estimates the standard error of a statistic that has no formula from draws with replacement, the same as
// lm-evaluation-harness makes with as many: thousands, and what is left over is not drawn. The statistic is called
// from several goroutines at once.
func Bootstrap[T any](statistic func([]T) float64, xs []T, draws int) float64 {
	size := min(bootstrapChunk, draws)
	if size < 1 || len(xs) == 0 {
		return math.NaN()
	}
	all := make([]float64, draws/size*size)
	var wg sync.WaitGroup
	for seed := range draws / size {
		part := all[seed*size : (seed+1)*size]
		wg.Go(func() {
			r := python.NewRandom(int64(seed))
			sample := make([]T, len(xs))
			for i := range part {
				for k, j := range r.Choices(len(xs), len(xs)) {
					sample[k] = xs[j]
				}
				part[i] = statistic(sample)
			}
		})
	}
	wg.Wait()
	return deviation(all)
}

// Part is the standard error of one task of a group, and its number of documents.
type Part struct {
	Error float64
	Size  int
}

// PooledError is the standard error of the mean over all documents of a group, from those of its tasks.
func PooledError(parts []Part) float64 {
	sum, size := 0.0, 0.0
	for _, p := range parts {
		n := float64(p.Size)
		sum += (n - 1) * p.Error * p.Error * n
		size += n
	}
	return math.Sqrt(sum / (size - float64(len(parts))) / size)
}

// UnweightedError is the standard error of the mean of the tasks' means.
func UnweightedError(parts []Part) float64 {
	sum := 0.0
	for _, p := range parts {
		sum += p.Error * p.Error
	}
	return math.Sqrt(sum) / float64(len(parts))
}
