t glmq-verify --completion
# The function in use: words of an option's argument, options, files.
eval "$(glmq-convert --completion)"
try() {
    COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
    _glmq_convert
    echo "$*: ${COMPREPLY[*]}"
}
try glmq-convert --transcode = re
try glmq-convert --mtp ""
try glmq-convert --sh
touch a-file
try glmq-convert a-
