# Every TurboQuant fixture to the plain types; F32 holds each tensor's values.
for f in glm5-tq3 glm5-tq3-v07 glm47flash-tq3 glm47flash-tq3-mixed; do
    fixture $f
    glmq-inspect --digest $f >want 2>/dev/null
    for to in bf16 f16 f32 same; do t glmq-convert $f $f.$to --to $to -q 2>/dev/null; done
    glmq-inspect --digest $f.f32 2>/dev/null | diff want - && echo same values in f32
    glmq-inspect --digest $f.same 2>/dev/null | diff want - && echo same values in same
    glmq-verify $f $f.bf16 --max-rmse 2e-4 -q 2>/dev/null | grep 'over --max'
    glmq-verify $f $f.f16 --max-rmse 2e-5 -q 2>/dev/null | grep 'over --max'
done
