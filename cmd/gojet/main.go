// Command gojet is the command line: one file per subcommand, each a thin layer over the packages.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	// The first signal asks the command to stop by its context, a second one ends the process.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, newRoot(os.Stdout, os.Stderr), os.Args[1:]))
}

// newRoot returns the whole command, writing results to out and everything else to errs.
func newRoot(out, errs io.Writer) *cobra.Command {
	root := &cobra.Command{
		Use:           "gojet",
		Short:         "Qwen and Jet-Nemotron models: generate, check, inspect",
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetOut(out)
	root.SetErr(errs)
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return fmt.Errorf("%w (%s --help lists the flags)", err, c.CommandPath())
	})
	root.AddCommand(
		newBench(),
		newData(),
		newDoctor(),
		newEval(),
		newGenerate(),
		newInspect(),
		newParity(),
		newPlan(),
		newReport(),
		newRecipes(),
		newSearch(),
		newServe(),
		newTokenize(),
		newTrain(),
		newVersion(),
	)
	root.InitDefaultCompletionCmd()
	return root
}

// run executes the command and returns the exit code: 0, or 1 after one line that says what went wrong.
func run(ctx context.Context, root *cobra.Command, args []string) int {
	root.SetArgs(append([]string{}, args...)) // nil would mean those of the process
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	if errors.Is(err, context.Canceled) {
		err = errors.New("interrupted")
	}
	fmt.Fprintf(root.ErrOrStderr(), "gojet: %s\n", oneLine(err.Error()))
	return 1
}

// oneLine joins the lines of a message.
func oneLine(s string) string {
	lines := strings.FieldsFunc(s, func(r rune) bool { return r == '\n' || r == '\r' })
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return strings.Join(lines, " ")
}
