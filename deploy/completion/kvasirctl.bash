# bash completion of kvasirctl; kvasirctl(1) explains the commands.
_kvasirctl()
{
  local current=${COMP_WORDS[COMP_CWORD]}
  local previous=${COMP_WORDS[COMP_CWORD - 1]}
  local commands="ping stats ls get put evict config bench completion"
  local options="--endpoint --timeout --json --help --version"
  local command="" word i

  case $previous in
    --endpoint)
      COMPREPLY=($(compgen -W "kvasir://127.0.0.1:7070 unix:/run/kvasir/kvasird.sock" -- "$current"))
      return
      ;;
    --timeout) return ;;
  esac
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=${COMP_WORDS[i]}
    case $word in
      --endpoint | --timeout) i=$((i + 1)) ;;
      -*) ;;
      *)
        command=$word
        break
        ;;
    esac
  done
  case $command in
    "") COMPREPLY=($(compgen -W "$commands $options" -- "$current")) ;;
    stats) COMPREPLY=($(compgen -W "--watch $options" -- "$current")) ;;
    ls) COMPREPLY=($(compgen -W "spaces chunks $options" -- "$current")) ;;
    get | put) COMPREPLY=($(compgen -W "$options" -f -- "$current")) ;;
    completion) COMPREPLY=($(compgen -W "bash zsh" -- "$current")) ;;
    *) COMPREPLY=($(compgen -W "$options" -- "$current")) ;;
  esac
}
complete -o filenames -F _kvasirctl kvasirctl
