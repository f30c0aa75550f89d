package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/gojet/gojet/infer/scheduler"
)

// Types of errors, as OpenAI's clients know them.
const (
	typeInvalid   = "invalid_request_error"
	typeAuth      = "authentication_error"
	typeNotFound  = "not_found_error"
	typeRateLimit = "rate_limit_error"
	typeServer    = "server_error"
)

// apiError is an answer that says what is wrong, in OpenAI's form.
type apiError struct {
	status  int
	Message string  `json:"message"`
	Type    string  `json:"type"`
	Param   *string `json:"param"` // the field of the request that it is about; null where it is about none
	Code    *string `json:"code"`
}

func (e *apiError) Error() string { return e.Message }

// body is the error as JSON.
func (e *apiError) body() []byte {
	text, err := json.Marshal(map[string]*apiError{"error": e})
	if err != nil {
		panic(err) // strings alone
	}
	return text
}

func newError(status int, kind, code, format string, args ...any) *apiError {
	return &apiError{status: status, Message: fmt.Sprintf(format, args...), Type: kind, Code: &code}
}

// invalid is what a field of the request has wrong.
func invalid(param, format string, args ...any) *apiError {
	e := newError(http.StatusBadRequest, typeInvalid, "invalid_value", format, args...)
	e.Param = &param
	return e
}

// unsupported is a field that asks for what this server does not do.
func unsupported(param, format string, args ...any) *apiError {
	e := invalid(param, format, args...)
	*e.Code = "unsupported_parameter"
	return e
}

// tooLong is a prompt that leaves no room.
func tooLong(param, format string, args ...any) *apiError {
	e := invalid(param, format, args...)
	*e.Code = "context_length_exceeded"
	return e
}

func draining() *apiError {
	return newError(http.StatusServiceUnavailable, typeServer, "draining", "the server is shutting down")
}

// statusGone is in logs and metrics where the client left before the answer; nobody receives it.
const statusGone = 499

// errGone is a request whose client has left.
var errGone = &apiError{status: statusGone, Message: "the client has left"}

// asAPI tells a client of any error.
func asAPI(err error) *apiError {
	var (
		known *apiError
		long  *scheduler.TooLongError
	)
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &long):
		return tooLong("prompt", "the prompt has %d tokens and the answer may have %d, but there is room for %d", long.Prompt, long.MaxTokens, long.Limit)
	case errors.Is(err, scheduler.ErrQueueFull):
		return newError(http.StatusTooManyRequests, typeRateLimit, "queue_full", "the queue of requests is full, try again later")
	case errors.Is(err, scheduler.ErrClosed):
		return draining()
	case errors.Is(err, context.Canceled): // whatever else ends a request has a cause of its own
		return errGone
	case errors.Is(err, context.DeadlineExceeded):
		return newError(http.StatusGatewayTimeout, typeServer, "request_timeout", "the request took longer than this server allows")
	}
	return newError(http.StatusInternalServerError, typeServer, "internal_error", "the server failed: %v", err)
}
