package server

import (
	"fmt"
	"time"
)

// Limits bound what a request may cost.
type Limits struct {
	// BodyBytes is the most bytes of a request's body.
	BodyBytes int64
	// PromptTokens is the most tokens of a prompt, AnswerTokens the most of an answer. 0 leaves it to the model's Length,
	// which bounds both together.
	PromptTokens, AnswerTokens int
	// Choices is the most answers to one request: prompts times n.
	Choices int
	// Stops is the most stop strings.
	Stops int
	// Header, Body and Request are the longest times for a request's header, its body, and all from then on.
	Header, Body, Request time.Duration
	// Write is how long a client may take to accept a piece of its answer: an event, or 64 KiB.
	Write time.Duration
	// Idle is how long a connection is kept without a request.
	Idle time.Duration
	// Drain is how long running requests may go on when the server ends.
	Drain time.Duration
}

// DefaultLimits suit a server for several people.
func DefaultLimits() Limits {
	return Limits{
		BodyBytes: 16 << 20, Choices: 128, Stops: 16,
		Header: 10 * time.Second, Body: time.Minute, Request: 10 * time.Minute, Write: 30 * time.Second, Idle: 2 * time.Minute,
		Drain: 30 * time.Second,
	}
}

// Validate names a limit that leaves nothing.
func (l Limits) Validate() error {
	for _, x := range []struct {
		name  string
		value int64
		least int64
	}{
		{"body bytes", l.BodyBytes, 1}, {"prompt tokens", int64(l.PromptTokens), 0}, {"answer tokens", int64(l.AnswerTokens), 0},
		{"choices", int64(l.Choices), 1}, {"stop strings", int64(l.Stops), 0},
	} {
		if x.value < x.least {
			return fmt.Errorf("server: limit of %s is %d, want %d or more", x.name, x.value, x.least)
		}
	}
	for _, x := range []struct {
		name string
		time time.Duration
	}{{"header", l.Header}, {"body", l.Body}, {"request", l.Request}, {"write", l.Write}, {"idle", l.Idle}} {
		if x.time <= 0 {
			return fmt.Errorf("server: time for %s is %v, want more than 0", x.name, x.time)
		}
	}
	if l.Drain < 0 {
		return fmt.Errorf("server: time for draining is %v, want 0 or more", l.Drain)
	}
	return nil
}
