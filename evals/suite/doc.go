// Package suite holds the tasks, each a YAML file, and reads such files. A new task is a new file, here or in a folder
// that is named on the command line; it needs no Go. The keys and their meanings are those of lm-evaluation-harness, and
// its files load as they are if they use no Python function; what such functions do, process_docs and the filters of
// templates say here.
//
// # The data
//
//	task: arc_easy                     # the name; files in this folder are called NAME.yaml
//	task_alias: easy                   # the name in tables
//	tag: [ai2_arc]                     # names that stand for all tasks that have them
//	include: _arc.yaml                 # begins from the keys of another file in the folder; mappings and lists are replaced, not merged
//	dataset_path: allenai/ai2_arc      # the repository of the data set
//	dataset_name: ARC-Easy             # its configuration, if it has several
//	dataset_files:                     # where a split is in the repository, if not where records.Find looks by itself;
//	  test: "data/test-*.parquet"      # a pattern, or several of which the first that matches counts; Parquet, JSON lines, JSON or CSV
//	training_split: train              # the splits; test is evaluated, and where there is none validation
//	validation_split: validation
//	test_split: test
//	process_docs:                      # what is done to the documents of every split, in this order
//	  seed: 42                         # of shuffled(list), a function of templates that is drawn anew for each document
//	  fields:                          # new fields; each sees those before it
//	    query: "{{ activity_label ~ ': ' ~ ctx_a }}"
//	  where: "{{ category == 'law' }}" # only documents for which this is true are kept
//
// A task without data has, in place of all this, generated: {ruler: niah_single_1}, a task of package ruler at each of the run's
// lengths; or generated: {grid: niah_single_2}, with the needle at eleven depths; or generated: {recall: true}. The fields of the
// documents are input, max_length, and gen_prefix, outputs, tokens and depth, or answer and pairs.
//
// # The prompt
//
//	description: "The following are …\n\n"    # before everything
//	doc_to_text: "Question: {{question}}\nAnswer:"
//	doc_to_target: "{{choices.label.index(answerKey)}}"
//	doc_to_choice: "{{choices.text}}"  # or a list of texts
//	gen_prefix: "The answer is"        # the beginning of the answer, given to the model
//	target_delimiter: " "              # between text and target
//	fewshot_delimiter: "\n\n"          # between examples
//	num_fewshot: 5
//	fewshot_split: dev                 # else training, validation or test, the first that there is
//	fewshot_config:
//	  sampler: first_n                 # or default: drawn by the seed, as Python's random.sample does
//	  samples: [{question: …}]         # the examples themselves, in place of a split
//	  file: minerva_math.jsonl         # or a file of them in the folder --fewshot-data, if it is there, in place of the split
//	  doc_to_text: …                   # also doc_to_target, doc_to_choice, gen_prefix, the delimiters, where examples differ
//
// A value is the name of a field, or a Jinja template over the fields: strings have Python's methods, lists index and
// count. A template that is one {{ expression }} gives the value itself, a list or a number, any other gives text.
// Filters beside Jinja's are regex_replace(pattern, by), regex_findall(pattern), regex_split(pattern) and tojson.
// doc_to_target is the number of the right choice, the right text, or a list of right ones; a text of digits is a number
// where there are choices. Where doc_to_text is a number and there are choices, the choices are contexts, the
// target is what follows each, and the number says which is right (WinoGrande).
//
// # The requests
//
//	output_type: multiple_choice       # choices by their log-likelihoods
//	             loglikelihood         # of the target
//	             loglikelihood_rolling # of the whole target, without context; doc_to_length is the text whose words and bytes count
//	             generate_until        # an answer
//	generation_kwargs: {until: ["\n"], max_gen_toks: 256, do_sample: false, temperature: 0.0, top_p: …, top_k: …}
//	repeats: 1                         # how many answers are drawn for a document
//	unsafe_code: true                  # the metric runs what the model wrote: only if that is allowed
//
// # The judgement
//
//	filter_list:                       # pipelines; each gives its own scores. None is one that takes the first answer, called none
//	  - name: strict-match
//	    filter:
//	      - {function: regex, regex_pattern: "#### (\\-?[0-9\\.\\,]+)", group_select: 0, fallback: "[invalid]"}
//	      - {function: take_first}
//	metric_list:
//	  - metric: exact_match            # further keys are the metric's own
//	    ignore_case: true
//	    aggregation: mean              # what the metric has by default where it is not given
//	    by: max_length                 # a score for each value of this field, which is its name
//	    higher_is_better: true
//	metadata: {version: 3.0}
//
// Filters: regex, multi_choice_regex, remove_whitespace, lowercase, uppercase, map, take_first, take_first_k,
// majority_vote, template (the key template sees the document and the answer as response).
// Metrics of the other output types: acc, acc_norm (by the characters of a choice), acc_bytes, acc_mutual_info, exact_match,
// f1, mcc, brier_score; perplexity and acc; word_perplexity, byte_perplexity, bits_per_byte. Those of answers are in
// evals/metrics. Where a document has several targets, the best score counts.
// Regular expressions are Python's.
//
// # Groups
//
//	group: mmlu
//	group_alias: …
//	task: [mmlu_stem, mmlu_other]      # tasks, groups and tags
//	aggregate_metric_list:             # the group's score from those of its tasks
//	  - {metric: acc, filter_list: [none], weight_by_size: true}   # "*" is every metric that the tasks have
//	metadata: {version: 2}
//
// One file may hold several tasks that differ in little: tasks lists the keys of each, above those of the file.
//
//	dataset_path: cais/mmlu
//	tasks:
//	  - {task: mmlu_anatomy, dataset_name: anatomy, tag: mmlu_other_tasks}
package suite
