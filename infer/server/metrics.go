package server

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/gojet/gojet/infer/scheduler"
)

// metrics are what Prometheus reads.
type metrics struct {
	registry               *prometheus.Registry
	requests               *prometheus.CounterVec
	seconds                *prometheus.HistogramVec
	prompt, cached, answer prometheus.Counter
	firstToken, perToken   prometheus.Histogram
}

func newMetrics(g Generator) *metrics {
	r := prometheus.NewRegistry()
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Namespace: "gojet", Name: name, Help: help})
		r.MustRegister(c)
		return c
	}
	histogram := func(name, help string, least float64) prometheus.Histogram {
		h := prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: "gojet", Name: name, Help: help, Buckets: prometheus.ExponentialBuckets(least, 2, 16)})
		r.MustRegister(h)
		return h
	}
	m := &metrics{
		registry: r,
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "gojet", Name: "requests_total", Help: "Requests, by route and status; 499 is a client that left."}, []string{"route", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: "gojet", Name: "request_seconds", Help: "Time from a request's header to the end of its answer.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 20)}, []string{"route"}),
		prompt:     counter("prompt_tokens_total", "Tokens of prompts."),
		cached:     counter("cached_tokens_total", "Tokens of prompts whose state was still there."),
		answer:     counter("answer_tokens_total", "Tokens generated."),
		firstToken: histogram("time_to_first_token_seconds", "Time from the queue to the first token of an answer.", 0.001),
		perToken:   histogram("time_per_token_seconds", "Mean time between the tokens of an answer.", 0.0001),
	}
	r.MustRegister(m.requests, m.seconds, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	registerStats(r, g)
	return m
}

// registerStats has the generator asked at every scrape.
func registerStats(r *prometheus.Registry, g Generator) {
	gauge := func(name, help string, value func(scheduler.Stats) float64) {
		r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "gojet", Name: name, Help: help}, func() float64 { return value(g.Stats()) }))
	}
	gauge("answers_running", "Answers that are being generated.", func(s scheduler.Stats) float64 { return float64(s.Running) })
	gauge("answers_queued", "Answers that wait for a slot.", func(s scheduler.Stats) float64 { return float64(s.Queued) })
	gauge("slots", "Answers that can be generated side by side.", func(s scheduler.Stats) float64 { return float64(s.Rows) })
	gauge("state_bytes", "Memory of the state of all slots.", func(s scheduler.Stats) float64 { return float64(s.StateBytes) })
	gauge("prefix_cache_bytes", "Memory of the prompts whose state is kept.", func(s scheduler.Stats) float64 { return float64(s.CacheBytes) })
	gauge("prefix_cache_limit_bytes", "The most memory for them.", func(s scheduler.Stats) float64 { return float64(s.CacheLimit) })
	gauge("prefix_cache_entries", "Prompts whose state is kept.", func(s scheduler.Stats) float64 { return float64(s.CacheEntries) })
}

func (m *metrics) request(route string, status int, took time.Duration) {
	m.requests.WithLabelValues(route, strconv.Itoa(status)).Inc()
	m.seconds.WithLabelValues(route).Observe(took.Seconds())
}

func (m *metrics) count(u scheduler.Usage) {
	m.prompt.Add(float64(u.Prompt))
	m.cached.Add(float64(u.Cached))
	m.answer.Add(float64(u.Answer))
}
