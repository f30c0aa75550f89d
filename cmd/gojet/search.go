package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/gojet/gojet/recipes"
	"github.com/gojet/gojet/recipes/launch"
	results "github.com/gojet/gojet/search/report"
	"github.com/gojet/gojet/train"
)

func newSearch() *cobra.Command {
	c := &cobra.Command{
		Use:   "search",
		Short: "Search a hybrid architecture for a trained model (PostNAS)",
		Long: `Search a hybrid architecture for a trained model (PostNAS).

A recipe with a search says which of its models is the teacher, which linear block stands beside its attention, and what
candidates are measured on. If the recipe has stages, such as one that trains the teacher, they come first. Every step writes a folder
of its own in the run directory, with metrics, log, checkpoints and result.json; a step runs those before it where they are not done.
Ctrl-C finishes what is at hand, saves and ends well. --resume goes on exactly where that was, after a kill too.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newSearchPlacement(), newSearchBlocks(), newSearchShape(), newSearchAll(), newSearchReport())
	return c
}

// searchStep is a subcommand that runs a step of a recipe's search.
func searchStep(name, short, long string, run func(context.Context, *recipes.Recipe, launch.Options) error) *cobra.Command {
	var resume bool
	c := &cobra.Command{
		Use:   name + " RECIPE [KEY=VALUE...]",
		Short: short,
		Long:  short + ".\n\n" + long,
		Args:  cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			r, err := recipes.Load(args[0], args[1:]...)
			if err != nil {
				return err
			}
			if err := r.Validate(); err != nil {
				return err
			}
			err = run(c.Context(), r, launch.Options{Resume: resume, Console: c.OutOrStdout(), Args: os.Args})
			if errors.Is(err, train.ErrInterrupted) {
				_, err = fmt.Fprintf(c.OutOrStdout(), "stopped and saved; go on with: gojet search %s %s --resume\n", name, args[0])
			}
			return err
		},
	}
	c.Flags().BoolVar(&resume, "resume", false, "go on with what is in the recipe's output directory")
	return c
}

func newSearchPlacement() *cobra.Command {
	return searchStep("placement", "Find the layers that keep full attention", `A super network holds, in each layer, the original attention and a linear block; every step trains one path through it to do
what the teacher does. Then placements under the budget of search.placement are measured on the questions and the text of search.exam,
and the best one is written to placement/model as a student that gojet train takes over (models.student.path).`,
		func(ctx context.Context, r *recipes.Recipe, o launch.Options) error {
			found, err := launch.Placement(ctx, r, o)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(o.Console, "%s\n%s\nstudent: %s\n", found.Best.Layers, found.Summary(), found.Student)
			return err
		})
}

func newSearchBlocks() *cobra.Command {
	return searchStep("blocks", "Compare linear blocks at the placement found", `Every candidate of search.blocks is trained from the teacher with the same data, seed and steps, and measured: the exam, speed of
training, prefill and decoding, parameters, state. Each is a run of its own below blocks, as of gojet train.`,
		func(ctx context.Context, r *recipes.Recipe, o launch.Options) error {
			found, err := launch.Blocks(ctx, r, o)
			return tellTrials(o.Console, found, err)
		})
}

func newSearchShape() *cobra.Command {
	return searchStep("shape", "Compare sizes of the linear block at constant state", `The grid of search.shape keeps heads × key dim × value dim as it is and varies the three. Every point is trained from the
teacher and measured like a block; points whose state exceeds most_bytes are left out.`,
		func(ctx context.Context, r *recipes.Recipe, o launch.Options) error {
			found, err := launch.Shapes(ctx, r, o)
			return tellTrials(o.Console, found, err)
		})
}

// tellTrials prints a line for each trial.
func tellTrials(out io.Writer, t *results.Trials, err error) error {
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "NAME\tPARAMETERS\tSTATE\tTRAIN TOK/S\tDECODE TOK/S\t%s\n", t.Objectives[0])
	for _, x := range t.Trials {
		if x.Left != "" {
			fmt.Fprintf(w, "%s\tleft out: %s\n", x.Name, x.Left)
			continue
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%.0f\t%.0f\t%.4f\n", x.Name, x.Parameters, x.StateBytes, x.TrainTokensPerSecond, x.DecodeTokensPerSecond, x.Scores[t.Objectives[0]])
	}
	return w.Flush()
}

func newSearchAll() *cobra.Command {
	return searchStep("all", "Run all steps of a search and write its report", `Placement, then blocks and shape where the recipe has them, then the report.`,
		func(ctx context.Context, r *recipes.Recipe, o launch.Options) error {
			path, err := launch.SearchAll(ctx, r, o)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(o.Console, "report: %s\n", path)
			return err
		})
}

func newSearchReport() *cobra.Command {
	return &cobra.Command{
		Use:   "report RUN",
		Short: "Write the report of a search",
		Long: `Write the report of a search.

RUN is the run directory. RUN/report takes report.html, one page that needs nothing else, and report.md with its plots: placements, the
importance of layers, blocks, shapes, costs, and the command that trains the result. Steps that are not done are left out.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			path, err := launch.Report(args[0])
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(c.OutOrStdout(), path)
			return err
		},
	}
}
