// Package chat turns conversations into text with the Jinja templates that come with checkpoints, and says which
// characters of the text are the assistant's own.
package chat

import "encoding/json"

// Message is one turn of a conversation.
type Message struct {
	Role    string // system, user, assistant, tool, or whatever else the template knows
	Content string
	// ToolCalls is the raw JSON of the field tool_calls, an array; nil where there is none.
	ToolCalls json.RawMessage
}
